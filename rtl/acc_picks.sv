// What the lanes of a channel pick from: L1 and L2 times each of a quad's four activation codes. Formed once, broadcast.
`default_nettype none
module acc_picks (
  input  acc_pkg::levels_e levels_i,
  input  logic             dense_i,  // W2: levels 1 and 3
  input  logic [31:0]      act_i,    // four int8
  output logic [43:0]      low_o,    // L1 * a, 11 bits each
  output logic [43:0]      high_o    // L2 * a
);
  logic three, five;
  assign three = dense_i || (levels_i == acc_pkg::Levels13);
  assign five  = !dense_i && (levels_i == acc_pkg::Levels25);

  for (genvar k = 0; k < 4; k++) begin : gen_place
    logic signed [10:0] a, two, four;
    assign a    = 11'(signed'(act_i[k*8 +: 8]));
    assign two  = a <<< 1;
    assign four = a <<< 2;
    assign low_o[k*11 +: 11]  = five ? two : a;
    assign high_o[k*11 +: 11] = five ? four + a : (three ? two + a : two);
  end
endmodule
`default_nettype wire
